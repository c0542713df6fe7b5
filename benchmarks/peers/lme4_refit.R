#!/usr/bin/env Rscript
# How long lme4 takes per response, single-threaded: refit() (ML) and lmer(). Prints one JSON object.
#
#   OMP_NUM_THREADS=1 Rscript benchmarks/peers/lme4_refit.R --expression=e.tsv --samples=s.csv \
#       --formula="~ Age + (1|Individual)" [--genes=50] [--weights=w.tsv] [--reml]
#
# expression: genes x samples, header with the sample names, first column the gene names; only the
# first --genes rows are read; weights: the same shape. refit() takes neither weights per
# gene nor missing values, so with either only lmer() is timed and seconds_per_gene_refit is null.
# Genes whose fit fails are counted in n_failed, their time included.

# BLAS reads this when R starts: too late to set it here
if (Sys.getenv("OMP_NUM_THREADS") != "1") stop("set OMP_NUM_THREADS=1 before starting R")
suppressPackageStartupMessages(library(lme4))

option <- function(name, default = NULL) {
  prefix <- paste0("^--", name, "=")
  value <- grep(prefix, commandArgs(trailingOnly = TRUE), value = TRUE)
  if (!length(value)) {
    if (is.null(default)) stop("missing --", name, "=")
    return(default)
  }
  sub(prefix, "", value[1])
}
n_genes <- as.integer(option("genes", "50"))
reml <- "--reml" %in% commandArgs(trailingOnly = TRUE)

read_matrix <- function(path) {
  as.matrix(read.delim(path, row.names = 1, check.names = FALSE, nrows = n_genes))
}
samples <- read.csv(option("samples"), row.names = 1, check.names = FALSE, stringsAsFactors = FALSE)
expression <- read_matrix(option("expression"))[, rownames(samples), drop = FALSE]
weights_path <- option("weights", "")
weights <- if (nzchar(weights_path)) read_matrix(weights_path)[, rownames(samples), drop = FALSE]

formula <- update(as.formula(option("formula")), response ~ .)
grouping <- unlist(lapply(findbars(formula), function(bar) all.vars(bar[[3]])))
samples[grouping] <- lapply(samples[grouping], factor)

quietly <- function(expression) suppressMessages(suppressWarnings(expression))
data <- samples
fit_gene <- function(i) {
  data$response <- expression[i, ]
  arguments <- list(formula = formula, data = data, REML = reml)
  if (!is.null(weights)) arguments$weights <- weights[i, ]
  quietly(tryCatch(do.call(lmer, arguments), error = function(condition) NULL))
}
seconds_per_gene <- function(fit, genes) {
  objectives <- rep(NA_real_, length(genes))
  started <- proc.time()[["elapsed"]]
  for (i in seq_along(genes)) {
    result <- fit(genes[i])
    if (!is.null(result)) objectives[i] <- -2 * as.numeric(logLik(result))
  }
  list(seconds = (proc.time()[["elapsed"]] - started) / length(genes), objectives = objectives)
}

genes <- seq_len(nrow(expression))
template <- fit_gene(1) # also warms up the byte compiler
by_lmer <- seconds_per_gene(fit_gene, genes)
by_refit <- list(seconds = NA)
if (!reml && is.null(weights) && !anyNA(expression) && !is.null(template)) {
  by_refit <- seconds_per_gene(function(i) quietly(refit(template, expression[i, ])), genes)
}

number <- function(value) ifelse(is.na(value), "null", sprintf("%.17g", value))
cat(sprintf(
  paste0(
    '{"seconds_per_gene_refit": %s, "seconds_per_gene_lmer": %s, "n_genes": %d, "n_failed": %d, ',
    '"reml": %s, "versions": {"R": "%s", "lme4": "%s"}, "objectives": [%s]}\n'
  ),
  number(by_refit$seconds), number(by_lmer$seconds), length(genes), sum(is.na(by_lmer$objectives)),
  tolower(reml), getRversion(), packageVersion("lme4"),
  paste(number(by_lmer$objectives), collapse = ", ")
))
