# galmass: why does a network know the stellar mass of a galaxy?
#
#   snakemake --cores all          the embedded default
#   snakemake --cores all survey   the survey wing alone

from snakemake.utils import min_version

min_version("9.27.1")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/catalogue.smk"
include: "workflow/rules/contrastive.smk"
include: "workflow/rules/causality.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        survey_targets,
        HEADLINES,


rule survey:
    input:
        survey_targets,


rule dynamics:
    input:
        [],  # no galaxy can be declared yet


onsuccess:
    finish()
