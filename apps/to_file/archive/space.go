package archive

import "errors"

// ErrNoSpace says that the disk, or a quota on it, is full. It is the one
// failure of the disk after which an Archive goes on: nothing that was
// appended since the last Sync is in the file any more, the caller gives these
// messages back, waits, and tries Append, Rotate or Close again.
var ErrNoSpace = errors.New("no space left")
