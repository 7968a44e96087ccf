//go:build race

package history_test

func init() { raceDetector = true }
