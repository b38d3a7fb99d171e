// Package prototest holds the protos to what buf's rules cannot express. It owns no
// code, only tests, and imports nothing but the generated package.
package prototest
