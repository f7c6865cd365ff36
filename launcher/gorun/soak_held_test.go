package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// held is what must not grow: what gorun's process holds, and the most that a rank does.
type held struct {
	gorun, rank holding
	children    int // processes that gorun has started, zombies too
	names       int // files in the system's folder for shared memory that are called as ours
}

// holding is what a process holds.
type holding struct {
	descriptors int
	kB          int
	maps        int // of shared memory
	goroutines  int // of a rank
}

func (h held) String() string {
	return fmt.Sprintf("gorun: %d descriptors, %d kB, %d children; a rank: %d descriptors, %d kB, %d maps, %d goroutines; %d files",
		h.gorun.descriptors, h.gorun.kB, h.children, h.rank.descriptors, h.rank.kB, h.rank.maps, h.rank.goroutines, h.names)
}

// grew says whether h is more than before, beyond what comes and goes.
func (h held) grew(before held) bool {
	more := func(now, then holding) bool {
		return now.descriptors > then.descriptors+16 || now.kB > 2*then.kB+64<<10 || now.maps > then.maps+8 || now.goroutines > then.goroutines+16
	}
	return more(h.gorun, before.gorun) || more(h.rank, before.rank) || h.children > before.children+4 || h.names > before.names
}

func (s *soaked) holds() held {
	h := held{gorun: s.holding(s.job.Process.Pid)}
	for _, r := range s.state().Ranks {
		p := s.holding(r.PID)
		s.until("a rank's word how many goroutines it has", func() bool {
			text, err := os.ReadFile(filepath.Join(s.dir, "goroutines-"+strconv.Itoa(r.PID)))
			n, bad := strconv.Atoi(string(text)) // it may just be written
			p.goroutines = n
			return err == nil && bad == nil
		})
		h.rank.descriptors = max(h.rank.descriptors, p.descriptors)
		h.rank.kB = max(h.rank.kB, p.kB)
		h.rank.maps = max(h.rank.maps, p.maps)
		h.rank.goroutines = max(h.rank.goroutines, p.goroutines)
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.job.Process.Pid))
	if err != nil {
		s.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // none where the thread has just ended
		h.children += len(strings.Fields(string(text)))
	}
	names, err := filepath.Glob("/dev/shm/*gorun*")
	if err != nil {
		s.Fatal(err)
	}
	h.names = len(names)
	return h
}

// holding reads what a process holds, as far as it still is there.
func (s *soaked) holding(pid int) (h holding) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	all, _ := os.ReadDir(proc + "fd")
	h.descriptors = len(all)
	status, _ := os.ReadFile(proc + "status")
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	_, _ = fmt.Sscan(rss, &h.kB)
	maps, _ := os.ReadFile(proc + "maps")
	h.maps = strings.Count(string(maps), "/memfd:gorun")
	return h
}
