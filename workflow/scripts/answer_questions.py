"""What the informations of a run answer, in words with numbers and intervals."""

from galmass import logs, stores
from galmass.information import questions

with logs.recording(snakemake.log[0]):
    summaries = [stores.read_json(path) for path in snakemake.input.summaries]
    rows = questions.answers(summaries, snakemake.params.questions)
    text = questions.markdown(rows, summaries)
    stores.write_csv(snakemake.output.table, rows)
    stores.write_text(snakemake.output.text, text)
    stores.write_text(snakemake.output.page, questions.html(text))
