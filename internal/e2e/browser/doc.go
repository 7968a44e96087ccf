// Package browser tests the admin UI in a real Chromium against real daemons: every
// page, every action, who may do it, live updates, keyboard, both themes and a narrow
// screen. What it sees it writes to a folder of screenshots, for people to look at.
package browser
