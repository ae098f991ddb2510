"""Results in the containers of other libraries: labelled arrays, tables, annotated matrices; each is imported when it is asked for."""
