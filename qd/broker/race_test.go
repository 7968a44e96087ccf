//go:build race

package broker

// raceEnabled says that tests run many times slower.
const raceEnabled = true
