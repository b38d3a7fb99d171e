// Package redistest gives tests a real Redis: one server per test binary, in a
// directory of its own, and servers of a test's own where it needs settings of
// its own. They are those of package redisproc, ended with their tests, which fail
// where it returns errors.
package redistest
