// Package scripts plays scenarios with the real programs: each file in testdata is one,
// in testscript's language, and reads as documentation of what a program does. It has no
// code of its own but the commands that the scenarios are written in.
//
// To testscript's own commands it adds
//
//	qd NAME [flags]            starts a qd on ports that are free, with its data in $WORK/NAME
//	lookupd NAME [flags]       starts a lookupd
//	run NAME program [args]    starts any program in the background; what "stdin" has named is its input
//	signal SIGNAL NAME         sends HUP, TERM, INT, KILL, STOP, CONT, USR1 or USR2
//	end NAME                   sends TERM, and wants that it ends, with status 0 ("! end": with another)
//	crash NAME                 kills it, as kill -9 does
//	ended NAME                 wants that it ends by itself, with status 0 ("! ended": with another)
//	again NAME                 starts what has ended: same flags, same ports, same data
//	http METHOD URL [file]     asks; the answer's body is stdout, its status and header stderr
//	httpserver [-tls] NAME file  serves what the rules in the file say (see serve), and writes NAME.log
//	until 'shell'              tries until it succeeds; what it printed last is stdout
//	audit QD [TOPIC/CHANNEL=N] wants every channel of a qd empty, but for those that have N messages
//	holds FILE LINES           wants every line of LINES in FILE, at least once ("holds -once": exactly once)
//
// Daemon NAME's addresses are $NAME_TCP and $NAME_HTTP, a server's $NAME_URL, in capitals.
// What a program writes goes to NAME.out and NAME.err in $WORK. On $PATH our programs come
// first: tail is ours. When the script ends, what still runs is ended with INT and must
// end with 0; and what has ended with another status must have been looked at.
package scripts
