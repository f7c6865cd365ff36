package kernels

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C continues a checksum, 0 at first, over p: it is crc32.Update with Castagnoli's
// polynomial.
func CRC32C(crc uint32, p []byte) uint32 { return active.checksum(crc, p) }

func checksum(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }
