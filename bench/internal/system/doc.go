// Package system has a driver for each system under measurement, as a program of
// its users would talk to it, and the servers that stand for the floors. It
// measures nothing itself.
package system
