#!/usr/bin/env Rscript
# lme4's polished fit of every gene of GSE131411 (cardiogenic shock), and what its default returns.
#
#   Rscript scripts/reference_gse131411.R <output directory> [data directory] [number of genes]
#
# The data directory holds GSE131411_cs_counts.csv.gz and GSE131411_cs_samples.csv. Writes one
# <model>.csv.gz per model: gene, objective, theta..., sigma, fixef..., largest absolute score, and
# lme4's default objective and theta. Neither the data nor this output belong to the repository.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "polished_lmer.R"))

arguments <- commandArgs(trailingOnly = TRUE)
if (!length(arguments)) stop("give the output directory")
output <- arguments[1]
input <- if (length(arguments) > 1) arguments[2] else file.path(dirname(script), "../../shared/data")
n_genes <- if (length(arguments) > 2) as.integer(arguments[3]) else Inf
dir.create(output, recursive = TRUE, showWarnings = FALSE)

counts <- read.csv(file.path(input, "GSE131411_cs_counts.csv.gz"), row.names = 1, check.names = FALSE)
samples <- read.csv(file.path(input, "GSE131411_cs_samples.csv"), colClasses = "character")
stopifnot(setequal(samples[[1]], names(counts)))
counts <- as.matrix(counts[, samples[[1]]])
log_cpm <- log2(t((t(counts) + 0.5) / (colSums(counts) + 1)) * 1e6)
log_cpm <- log_cpm[seq_len(min(n_genes, nrow(log_cpm))), ]

models <- list(
  time_fixed_ml = list(formula = y ~ time + (1 | patient), reml = FALSE),
  time_random_reml = list(formula = y ~ (1 | time) + (1 | patient), reml = TRUE),
  time_fixed_reml = list(formula = y ~ time + (1 | patient), reml = TRUE)
)

# One gene: the parsed model of the design with this gene's response in its frame.
fit_gene <- function(y, parsed) {
  parsed$fr$y <- y
  polished <- polish(parsed, optimizers = "nloptwrap", starts = c(1, 0.1))
  state <- environment(polished$devfun)
  penalised_rss <- state$resp$wrss() + state$pp$sqrL(1)
  df <- length(y) - if (parsed$REML > 0) ncol(parsed$X) else 0
  c(
    objective = polished$objective, theta = polished$theta, sigma = sqrt(penalised_rss / df),
    fixef = state$pp$beta(1), max_abs_score = max(abs(polished$score)),
    min_curvature = min(eigen(polished$hessian, symmetric = TRUE, only.values = TRUE)$values),
    default_objective = polished$default_objective, default_theta = polished$default_theta
  )
}

column_names <- function(parsed) {
  groups <- names(parsed$reTrms$cnms)
  c(
    "objective", paste0("theta_", groups), "sigma", paste0("fixef_", colnames(parsed$X)),
    "max_abs_score", "min_curvature", "default_objective", paste0("default_theta_", groups)
  )
}

for (name in names(models)) {
  model <- models[[name]]
  started <- proc.time()[["elapsed"]]
  data <- data.frame(samples, y = log_cpm[1, ])
  parsed <- lFormula(model$formula, data, REML = model$reml)
  fits <- t(apply(log_cpm, 1, fit_gene, parsed = parsed))
  colnames(fits) <- column_names(parsed)
  table <- data.frame(gene = rownames(log_cpm), apply(fits, 2, sprintf, fmt = "%.17g"), check.names = FALSE)
  connection <- gzfile(file.path(output, paste0(name, ".csv.gz")), "w")
  write.csv(table, connection, row.names = FALSE, quote = FALSE)
  close(connection)
  message(sprintf(
    "%s: %d genes in %.0f s, worst score %.1e, default worse by up to %.1e",
    name, nrow(fits), proc.time()[["elapsed"]] - started, max(fits[, "max_abs_score"]),
    max(fits[, "default_objective"] - fits[, "objective"])
  ))
}
