module github.com/gomfm/gomfm

go 1.26.5

require (
	codeberg.org/go-fonts/dejavu v0.4.0
	github.com/gofrs/flock v0.13.0
	github.com/gomlx/compute v0.1.4
	github.com/gomlx/go-xla v0.4.3
	github.com/gomlx/gomlx v0.28.4
	github.com/janpfeifer/gonb v0.11.5
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.9
	golang.org/x/image v0.30.0
	golang.org/x/sys v0.43.0
	golang.org/x/term v0.40.0
	golang.org/x/text v0.35.0
	gonum.org/v1/gonum v0.17.0
	gonum.org/v1/plot v0.17.0
	google.golang.org/protobuf v1.36.11
)

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/gofrs/uuid v4.4.0+incompatible // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/gomlx/compute-onnx v0.1.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/exp v0.0.0-20260410095643-746e56fc9e2f // indirect
	golang.org/x/tools v0.44.0 // indirect
	k8s.io/klog/v2 v2.140.0 // indirect
	rsc.io/pdf v0.1.1 // indirect
)

// GoMLX needs this module only under its build tag onnx, which nothing here sets. Some module proxies
// lack the metadata of v0.1.0, without which "go mod download" fails.
replace github.com/gomlx/compute-onnx v0.1.0 => github.com/gomlx/compute-onnx v0.0.0-20260730095030-43334863f719
