package plot

import "strings"

// oursColours is how many of the palette are for our own lines.
const oursColours = 3

// palette is colours on a light page and on a dark one. The first stand out; all are told
// apart without red and green (after Okabe and Ito, Color Universal Design, 2008).
var palette = []struct{ light, dark string }{
	{"#c2410c", "#fb923c"},
	{"#be185d", "#f472b6"},
	{"#a16207", "#facc15"},
	{"#1d4ed8", "#60a5fa"},
	{"#0f766e", "#2dd4bf"},
	{"#6d28d9", "#a78bfa"},
	{"#475569", "#94a3b8"},
	{"#0369a1", "#38bdf8"},
	{"#4d7c0f", "#a3e635"},
	{"#78716c", "#d6d3d1"},
	{"#4338ca", "#818cf8"},
	{"#155e75", "#67e8f9"},
	{"#111827", "#f3f4f6"}, // of bounds
}

// style is the sheet of every drawing, for pages of either kind.
var style = func() string {
	var light, dark strings.Builder
	for i, c := range palette {
		for _, side := range []struct {
			b      *strings.Builder
			colour string
		}{{&light, c.light}, {&dark, c.dark}} {
			n := string(rune('0'+i/10)) + string(rune('0'+i%10))
			n = strings.TrimPrefix(n, "0")
			side.b.WriteString(".c" + n + "{color:" + side.colour + "}")
		}
	}
	return "<style>" +
		".page{fill:#fff}.ink{fill:#111827}.soft{fill:#4b5563}.grid{stroke:#e5e7eb}" + light.String() +
		".line{fill:none;stroke:currentColor;stroke-width:1.6}.ours{stroke-width:3.2}.dashed{stroke-dasharray:6 4}" +
		".leader{fill:none;stroke:currentColor;stroke-width:.6}.name,.mark{fill:currentColor}" +
		"@media (prefers-color-scheme:dark){.page{fill:#0d1117}.ink{fill:#f3f4f6}.soft{fill:#9ca3af}.grid{stroke:#21262d}" + dark.String() + "}" +
		"</style>\n"
}()
