# galmass: why does a network know the stellar mass of a galaxy, and how heavy is the black hole in one?
#
#   snakemake --cores all                the embedded default
#   snakemake --cores all survey         the survey wing alone
#   snakemake --cores all dynamics       the dynamics wing alone: deprojection and black holes
#   snakemake --cores all deprojection   Nuker profiles as Gaussians: networks, errors, velocities

from snakemake.utils import min_version

min_version("9.27.1")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/catalogue.smk"
include: "workflow/rules/sky.smk"
include: "workflow/rules/archives.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/contrastive.smk"
include: "workflow/rules/causality.smk"
include: "workflow/rules/graphs.smk"
include: "workflow/rules/information.smk"
include: "workflow/rules/cross_check.smk"
include: "workflow/rules/deprojection.smk"
include: "workflow/rules/visibilities.smk"
include: "workflow/rules/inference.smk"
include: "workflow/rules/provenance.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        survey_targets,
        deprojection_targets,
        dynamics_targets,
        headlines(),
        PROVENANCE,


rule survey:
    input:
        survey_targets,


rule dynamics:
    input:
        deprojection_targets,
        dynamics_targets,


rule deprojection:
    input:
        deprojection_targets,


place_on_cluster(workflow.rules)


onstart:
    check_writable()


onsuccess:
    finish()
