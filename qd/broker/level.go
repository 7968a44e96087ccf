package broker

import "fmt"

// Level is what OK means to a publisher.
type Level int

// The levels.
const (
	// Memory: the message is in memory. What does not fit spills to disk.
	Memory Level = iota
	// Disk: it is in the operating system's hands, and survives the process.
	Disk
	// Fsync: it is on the device, and survives a power cut.
	Fsync
)

var levels = [...]string{"memory", "disk", "fsync"}

// String is the level's name.
func (l Level) String() string { return levels[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	for i, name := range levels {
		if name == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("durability %q: must be %s", text, l.Expects())
}

// Expects says what is taken.
func (l *Level) Expects() string { return "memory, disk or fsync" }

// Set and Get make a Level a flag.Value and flag.Getter.
func (l *Level) Set(text string) error { return l.UnmarshalText([]byte(text)) }

// Get returns the level.
func (l *Level) Get() any { return *l }
