#!/usr/bin/env Rscript
# lme4 on its own InstEval data: writes the data as CSV, prints one JSON object with seconds,
# REML criteria and coefficients per formula.
#
#   Rscript benchmarks/peers/lme4_large.R --data=insteval.csv "y ~ service + (1|s) + (1|d)" ...

suppressPackageStartupMessages(library(lme4))
arguments <- commandArgs(trailingOnly = TRUE)
path <- sub("^--data=", "", grep("^--data=", arguments, value = TRUE))
formulas <- grep("^--data=", arguments, value = TRUE, invert = TRUE)
data <- InstEval
data$y <- as.numeric(data$y)
write.csv(data, path, row.names = FALSE)
rows <- vapply(formulas, function(text) {
  seconds <- system.time(
    fit <- suppressMessages(suppressWarnings(lmer(as.formula(text), data)))
  )[["elapsed"]]
  sprintf('{"formula": "%s", "seconds": %.3f, "objective": %.17g}', text, seconds,
          REMLcrit(fit))
}, "")
cat(sprintf('{"versions": {"R": "%s", "lme4": "%s"}, "fits": [%s]}\n', getRversion(),
            packageVersion("lme4"), paste(rows, collapse = ", ")))
