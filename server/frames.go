package server

const (
	// prefaceBytes is how long the preface is that a client of HTTP/2 begins with.
	prefaceBytes = 24
	// frameHeadBytes is how long the head of a frame is.
	frameHeadBytes = 9
	// dataFrame is the type of the frames that messages come in, and these are its
	// flags: endStream ends a call's side, padded says that padding follows what is in
	// it, as much as its first byte says. headersFrame is the type of those that begin
	// calls.
	dataFrame    = 0
	endStream    = 0x1
	padded       = 0x8
	headersFrame = 1
	// tinyFrame is how many bytes of memory keeping a frame takes, more or less, in
	// addition to what is in it.
	tinyFrame = 64
	// crumb is the number of bytes of a message below which a frame that does not end
	// its stream brings next to nothing, unless a message ends with it.
	crumb = 1 << 10
)

// frames reads along what a client sends, as far as it must to know which bytes
// are those of messages. It is the only way to count them without drifting: all
// else, headers and pings and window updates, comes beside them in any number.
// The zero value is not ready; see newFrames.
type frames struct {
	// left is how much is to come of the frame under way, data whether it is a
	// message's.
	left int
	data bool
	// padded is whether the next byte says how much of it is padding.
	padded bool
	// head is that of the next frame, as far as it has come.
	head [frameHeadBytes]byte
	have int
}

// newFrames begins where a client does, with the preface, which it skips.
func newFrames() frames { return frames{left: prefaceBytes} }

// read goes on by what has come and returns how many bytes of it are messages',
// how many tiny frames of messages began in it, how many crumbs: frames that bring next
// to nothing of a message, or none and begin no call; and how many calls.
func (f *frames) read(p []byte) (bytes, tiny, crumbs, calls int) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(len(p), f.left)
			if f.padded {
				f.padded = false
				if f.left-1-int(p[0]) < crumb {
					crumbs++
				}
			}
			if f.data {
				bytes += n
			}
			f.left -= n
			p = p[n:]
			continue
		}
		n := copy(f.head[f.have:], p)
		p = p[n:]
		if f.have += n; f.have < frameHeadBytes {
			break
		}
		f.have = 0
		f.left = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
		f.data = f.head[3] == dataFrame
		if f.data && f.left > 0 && f.left < tinyFrame {
			tiny++
		}
		if f.head[3] == headersFrame {
			calls++
		} else if !f.data {
			crumbs++
		}
		if f.data && f.head[4]&endStream == 0 {
			if f.padded = f.head[4]&padded != 0 && f.left > 0; !f.padded && f.left < crumb {
				crumbs++
			}
		}
	}
	return bytes, tiny, crumbs, calls
}
