package program

// Closest is the one of names that was probably meant by name, or empty: for files
// of other kinds than the config file, whose mistakes are told alike.
func Closest(name string, names []string) string { return closest(name, names) }
