package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gorun-ml/gorun/topology"
)

// numbers reads numbers of ranks that the cluster can have.
func numbers(text string, c topology.Cluster) ([]int, error) {
	all := c.Hosts * c.Ranks
	var ranks []int
	if text == "" {
		for n := 1; n <= all; n *= 2 {
			if _, err := c.Of(n); err == nil {
				ranks = append(ranks, n)
			}
		}
		if ranks[len(ranks)-1] != all {
			ranks = append(ranks, all)
		}
		return ranks, nil
	}
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 || n > all {
			return nil, fmt.Errorf("-ranks %s: want 1 to %d, apart by commas", word, all)
		}
		if _, err := c.Of(n); err != nil {
			return nil, fmt.Errorf("-ranks %d: hosts have %d ranks: want fewer, or a multiple", n, c.Ranks)
		}
		ranks = append(ranks, n)
	}
	return ranks, nil
}

// sizes reads sizes like 4, 64KiB, 1MiB.
func sizes(text string) ([]int64, error) {
	var all []int64
	for _, word := range strings.Split(text, ",") {
		word = strings.TrimSpace(word)
		number, unit := word, int64(1)
		for _, u := range units {
			if n, found := strings.CutSuffix(word, u.name); found {
				number, unit = n, u.bytes
				break
			}
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 1 || n > 1<<40/unit {
			return nil, fmt.Errorf("-bytes %s: want a size like 64KiB, from 1 to 1TiB", word)
		}
		all = append(all, n*unit)
	}
	return all, nil
}

// The longer names come before those that they end with.
var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}}
