// Package docs runs the documents: the tests take every fenced sh block out of README.md,
// docs/*.md and the other pages that people follow, and run the blocks of a page one after
// the other, as somebody would who copies them into a shell. It holds no code.
//
// A page has a machine to itself: a network in which NSQ's ports are free, its own
// processes, and the repository under its usual path, in which it may write without
// anybody seeing it. All blocks of a page share one shell, once bash and once zsh, where
// there is one. A block fails if a command in it does; after the last one nothing may
// still run. A text block behind a block is what it prints, standard error included; in
// it ... stands for anything.
//
// What a page says to the tests stands above a block, in an HTML comment of its own line:
//
//	<!-- not run: REASON -->   of this block; the tests print it
//	<!-- no block is run: REASON -->   of the rest of this page
//	<!-- terminal: TEXT -->    it goes on in a terminal of its own, until Ctrl-C at the end of
//	                           the page; the page goes on when it has printed TEXT
//	<!-- repeat -->            look again until the text block is right
//	<!-- fails -->             its last command is to fail
//	<!-- needs: PROGRAM ... -->   from here on, besides Go, make and what each system has
package docs
