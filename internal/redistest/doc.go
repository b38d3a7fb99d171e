// Package redistest gives tests a real Redis: one server per test binary, in a
// directory of its own, and servers of a test's own where it needs settings of
// its own.
//
// It speaks just enough of the protocol to start and to look at servers; it must
// import nothing of this module, nor go-redis, which belongs to redisstore.
package redistest
