# JSON with 17 significant digits, so that doubles come back bit for bit (jsonlite stops at 15).
# Vectors become arrays, named lists objects; a value marked by scalar() is written bare.

scalar <- function(value) {
  if (is.null(value)) value <- NA
  structure(value, class = "json_scalar")
}

matrix_rows <- function(matrix) lapply(seq_len(nrow(matrix)), function(i) unname(matrix[i, ]))

json_atoms <- function(values) {
  text <- if (is.character(values)) {
    paste0('"', gsub('(["\\\\])', "\\\\\\1", values), '"')
  } else if (is.logical(values)) {
    tolower(as.character(values))
  } else {
    sprintf("%.17g", values)
  }
  replace(text, is.na(values) | (is.numeric(values) & !is.finite(values)), "null")
}

to_json <- function(value, indent = "") {
  inner <- paste0(indent, " ")
  if (inherits(value, "json_scalar")) {
    return(json_atoms(unclass(value)))
  }
  if (is.list(value)) {
    items <- vapply(value, to_json, character(1), indent = inner)
    named <- !is.null(names(value))
    if (named) items <- paste0(json_atoms(names(value)), ": ", items)
    body <- paste0(inner, items, collapse = ",\n")
    return(paste0(if (named) "{" else "[", "\n", body, "\n", indent, if (named) "}" else "]"))
  }
  paste0("[", paste(json_atoms(value), collapse = ", "), "]")
}

write_json <- function(value, path) {
  writeLines(to_json(value), path, useBytes = TRUE)
}
