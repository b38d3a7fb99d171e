// Package retryv1 stands in for the generated code.
package retryv1
