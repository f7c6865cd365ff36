package replica

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// snapshots keeps the newest snapshot in memory. One that is being written is not seen
// before it is whole, and never replaces a newer one.
type snapshots struct {
	mu     sync.Mutex
	newest *snapshot
}

type snapshot struct {
	meta raft.SnapshotMeta
	data []byte // not changed any more
}

// Create begins a snapshot.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return &sink{store: s, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d", term, index), Index: index, Term: term,
		Configuration: members, ConfigurationIndex: membersIndex,
	}}, nil
}

// List returns the newest snapshot, if there is one.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return nil, nil
	}
	meta := s.newest.meta
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open returns a snapshot to read.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || s.newest.meta.ID != id {
		return nil, nil, fmt.Errorf("snapshot %s has been replaced by a newer one", id)
	}
	meta := s.newest.meta
	return &meta, reader{bytes.NewReader(s.newest.data)}, nil
}

// reader reads a snapshot, again after a Seek.
type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// sink is a snapshot that is being written.
type sink struct {
	store *snapshots
	meta  raft.SnapshotMeta
	data  []byte
}

func (s *sink) ID() string    { return s.meta.ID }
func (s *sink) Cancel() error { return nil }

func (s *sink) Write(p []byte) (int, error) {
	if err := fits("snapshot", len(s.data)+len(p), maxSnapshot); err != nil {
		return 0, err
	}
	s.data = append(s.data, p...)
	return len(p), nil
}

// Close makes it the newest.
func (s *sink) Close() error {
	s.meta.Size = int64(len(s.data))
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if newest := s.store.newest; newest == nil || newest.meta.Index <= s.meta.Index {
		s.store.newest = &snapshot{meta: s.meta, data: s.data}
	}
	return nil
}
