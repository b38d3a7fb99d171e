package server

import "google.golang.org/protobuf/proto"

const maxFilterBytes = 1000

// named is a request that names one policy or job.
type named interface {
	GetNamespace() string
	GetId() string
}

// resourceName checks a request that names one policy or job, and returns the
// namespace.
func resourceName(r named) (namespace string, err error) {
	var c checker
	namespace = c.namespace(r.GetNamespace())
	c.id("id", r.GetId())
	return namespace, c.err()
}

// paged is a request for a page of policies or jobs.
type paged interface {
	GetNamespace() string
	GetPageSize() int32
	GetPageToken() string
	GetFilter() string
}

// resourcePage checks a request for a page of policies or jobs, and returns its
// size and after which id it begins.
func resourcePage(kind string, r paged) (list listing, size int, after string, err error) {
	var c checker
	list = listing{kind: kind, namespace: c.namespace(r.GetNamespace()), filter: []string{r.GetFilter()}}
	size, after = c.page(list, r.GetPageSize(), r.GetPageToken())
	c.text("filter", r.GetFilter(), maxFilterBytes)
	return list, size, after, c.err()
}

// resources returns the page of all records, which are in the order of their ids,
// that begins after an id, and the token of the next page.
func resources[R any, M proto.Message](list listing, all []R, size int, after string, id func(R) string, tell func(R) M) (page []M, next string) {
	bytes := 0
	for i, rec := range all {
		if id(rec) <= after {
			continue
		}
		m := tell(rec)
		bytes += proto.Size(m)
		if n := len(page); n == size || n > 0 && bytes > maxPageBytes {
			return page, list.token(id(all[i-1]))
		}
		page = append(page, m)
	}
	return page, ""
}
