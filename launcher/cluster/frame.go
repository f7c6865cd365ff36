package cluster

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// maxFrame bounds a frame, in bytes, before memory is allocated for it.
const maxFrame = 1 << 20

// writeFrame sends a message: its length in 4 bytes, big-endian, and JSON.
func writeFrame(w io.Writer, message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > maxFrame {
		return fmt.Errorf("message of %d bytes: the limit is %d", len(data), maxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data)))
	_, err = w.Write(append(frame, data...)) // at once: one record, one packet
	return err
}

// readFrame receives a message. io.EOF is the end between two frames.
func readFrame[T any](r io.Reader) (message T, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return message, fmt.Errorf("message of %d bytes: the limit is %d", n, maxFrame)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return message, fmt.Errorf("message of %d bytes: %w", n, noEOF(err))
	}
	if err := json.Unmarshal(data, &message); err != nil {
		return message, fmt.Errorf("malformed message: %w", err)
	}
	return message, nil
}

// noEOF is err, where an end of the stream is one too early.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
