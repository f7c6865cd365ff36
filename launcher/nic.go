package launcher

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// address is one of a host's, and the interface that has it.
type address struct {
	nic string
	ip  netip.Addr
}

// checkNICs refuses what can be neither an interface nor a subnet.
func checkNICs(asked []string) error {
	for _, a := range asked {
		if strings.Contains(a, "/") {
			if _, err := netip.ParsePrefix(a); err != nil {
				return refuse("--nic %s: want a subnet such as 10.0.0.0/8, or the name of an interface", a)
			}
		} else if a == "" || strings.ContainsAny(a, " \t\r\n") {
			return refuse("--nic %q: want names of interfaces or subnets, such as eth0 or 10.0.0.0/8", a)
		}
	}
	return nil
}

// pick is the address to listen on: the first of an interface, or in a subnet, that was
// asked for. It is of the family of like, an address that is to be reached; where there is
// none, IPv4 comes first.
func pick(asked []string, have []address, like netip.Addr) (string, error) {
	for _, six := range []bool{false, true} {
		if like.IsValid() && six != like.Is6() {
			continue
		}
		for _, want := range asked {
			subnet, err := netip.ParsePrefix(want)
			for _, a := range have {
				if a.ip.Is6() == six && (err != nil && a.nic == want || err == nil && subnet.Contains(a.ip)) {
					return a.ip.String(), nil
				}
			}
		}
	}
	var list []string
	for _, a := range have {
		list = append(list, a.nic+" "+a.ip.String())
	}
	return "", fmt.Errorf("no interface that is up matches --nic %s: it has %s", strings.Join(asked, ","), strings.Join(list, ", "))
}

// addresses are those of this host's interfaces that are up. One that needs a zone, as
// fe80:: does, is of no use to others.
func addresses() (all []address, err error) {
	nics, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, n := range nics {
		if n.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := n.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && !p.Addr().IsLinkLocalUnicast() {
				all = append(all, address{n.Name, p.Addr().Unmap()})
			}
		}
	}
	return all, nil
}

// ownAddress is the address of this host that --nic asks for, to be connected to from where
// like is; "" for anywhere.
func ownAddress(asked []string, like string) (string, error) {
	have, err := addresses()
	if err != nil {
		return "", fmt.Errorf("--nic: %w", err)
	}
	ip, _ := netip.ParseAddr(like)
	return pick(asked, have, ip.Unmap())
}
