// Package cluster drives three queue daemons and two lookup daemons, as
// processes, over a network that is cut, slowed down and torn, and kills, drains
// and restarts them, while our clients publish and consume. In the end every
// message that was acknowledged has arrived in every channel, and after each
// fault everybody has found everybody else, and the lookup daemons say what the
// queue daemons have, within the time that GUARANTEES.md states. Nobody helps: a
// fault begins and ends, and that is all.
//
// It is all tests; package network plays the network.
package cluster
