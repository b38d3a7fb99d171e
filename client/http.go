package client

import (
	"errors"
	"net/http"
)

// CheckHTTP tells whether an HTTP request worked, from what http.Client.Do
// returned: nil when the status is 2xx, else a [*Failure] to return from a
// handler or to report. A status comes with the Retry-After header as received;
// an error is classified as [FailureFrom] does, and one that it knows no better
// is [ConnectionOther]. Neither says anything about the URL.
//
// The response is neither read nor closed.
func CheckHTTP(resp *http.Response, err error) error {
	if err != nil {
		f := FailureFrom(err)
		if f.Cause == OutcomeCause("error") {
			f.Cause = ConnectionCause{Kind: ConnectionOther}
		}
		return f
	}
	if resp == nil {
		f := ConnectionFailure(ConnectionOther)
		f.Message = "there is no response"
		return f
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil
	}
	return HTTPFailure(resp.StatusCode, resp.Header.Get("Retry-After"))
}

// asRelease tells whether a handler hands its attempt back.
func asRelease(err error) (*releaseError, bool) {
	return errors.AsType[*releaseError](err)
}
