//go:build !unix

package main

import "os"

// notifyResize does nothing: the size is looked at whenever the screen is drawn.
func notifyResize(chan<- os.Signal) {}
