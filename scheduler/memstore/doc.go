// Package memstore is the store in plain Go: what retryd dev runs on, and the
// reference model that other stores are held against. It keeps everything in
// memory and loses it when the process ends.
//
// It must import nothing of this module but scheduler and policy.
package memstore
