package main

import "github.com/millrace-mq/millrace/internal/program"

// itself is what the program says of itself.
func itself() program.Program {
	return program.Program{
		Name:     "bench",
		Synopsis: "measure a broker that speaks V2, and lookupds",
		About: `Each command puts one kind of load on a broker, Millrace's or NSQ's, and prints what it took:
throughput, latency, and CPU and memory a message. It uses a broker that runs, or with --start starts
one for each workload and stops it afterwards. null is a broker that only parses and answers: what is
measured on it is the most that this machine, and bench itself, can do.`,
		Examples: []program.Example{
			{Does: "publish batches to the qd that runs on this machine", Command: "bench publish --messages=500000"},
			{Does: "publish and consume at once, on a qd that is started for it", Command: "bench both --start='qd --durability=disk' --tcp-address=127.0.0.1:5150 --http-address=127.0.0.1:5151"},
			{Does: "latencies at 20,000 messages a second, as JSON", Command: "bench latency --rate=20000 --json"},
			{Does: "what the disk takes", Command: "bench disk --dir=/var/lib"},
		},
		Commands: commands(),
	}
}
