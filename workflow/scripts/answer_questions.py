"""What the informations of a run answer, in words with numbers and intervals."""

from galmass import logs, stores
from galmass.information import convergence, questions

with logs.recording(snakemake.log[0]):
    p, doubts = snakemake.params, []
    summaries = [stores.read_json(path) for path in snakemake.input.summaries]
    for summary, path in zip(summaries, snakemake.input.components, strict=True):
        trained = {m: stores.read_table(e) for (s, m), e in zip(p.contrastive, snakemake.input.embeddings, strict=True) if s == summary["sample"]}
        outdone = convergence.outdone(summary, stores.read_table(path), trained, p.widths, p.width)
        doubts.append(convergence.reasons(summary, convergence.unfinished(summary), outdone))
    rows = questions.answers(summaries, p.questions, doubts)
    text = questions.markdown(rows, summaries)
    stores.write_csv(snakemake.output.table, rows)
    stores.write_text(snakemake.output.text, text)
    stores.write_text(snakemake.output.page, questions.html(text))
