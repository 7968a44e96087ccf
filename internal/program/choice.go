package program

import (
	"errors"
	"slices"
	"strings"
)

// Choice is a flag that is one of a few words. Value is its default until it is set; empty
// is nothing that can be chosen.
type Choice struct {
	Value string
	Words []string
}

// String implements flag.Value.
func (c *Choice) String() string { return c.Value }

// Set implements flag.Value.
func (c *Choice) Set(word string) error {
	if !slices.Contains(c.Words, word) {
		return errors.New("must be " + c.Expects())
	}
	c.Value = word
	return nil
}

// Get implements flag.Getter.
func (c *Choice) Get() any { return c.Value }

// Choices implements Enumerated.
func (c *Choice) Choices() []string { return c.Words }

// Expects implements Expecting.
func (c *Choice) Expects() string {
	last := len(c.Words) - 1
	if last < 1 {
		return strings.Join(c.Words, "")
	}
	return strings.Join(c.Words[:last], ", ") + " or " + c.Words[last]
}
