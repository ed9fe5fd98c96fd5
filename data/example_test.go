package data_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/gomfm/gomfm/data"
)

// The embedded digits, centered by the mean image of the training set.
func ExampleMNIST() {
	train, heldOut, err := data.MNIST()
	if err != nil {
		log.Fatal(err)
	}
	mean := train.Mean()
	x, err := train.Centered(mean)
	if err != nil {
		log.Fatal(err)
	}
	variance, err := train.Variance(mean)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d + %d digits of %dx%d pixels\n", train.N, heldOut.N, train.Height, train.Width)
	fmt.Printf("%d values of variance %.3f\n", len(x), variance)
	// Output:
	// 9000 + 1000 digits of 28x28 pixels
	// 7056000 values of variance 0.269
}

func ExampleImages_Shuffle() {
	m := &data.Images{
		N: 4, Height: 1, Width: 1, Channels: 1, Pixels: []byte{0, 85, 170, 255}, Labels: []int32{0, 1, 2, 3},
	}
	held, rest, err := m.Shuffle(rand.New(rand.NewPCG(1, 2))).Split(1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(held.N, rest.N, m.Labels)
	// Output:
	// 1 3 [0 1 2 3]
}

func ExampleInspect() {
	s, err := data.Inspect("mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Count, s.Shape, s.ClassCounts)

	_, err = data.Inspect("mnist/t10k-images-idx3-ubyte.gz", "mnist/train-labels-idx1-ubyte.gz")
	fmt.Println(err)
	// Output:
	// 1000 [28 28 1] [102 126 95 99 98 85 104 105 88 98]
	// data: mnist/train-labels-idx1-ubyte.gz has 9000 labels but mnist/t10k-images-idx3-ubyte.gz has 1000 images
}

func ExampleSummary() {
	m := &data.Images{N: 2, Height: 1, Width: 1, Channels: 1, Pixels: []byte{0, 255}}
	s, err := m.Summary()
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		log.Fatal(err)
	}
	// Output:
	// {"count":2,"shape":[1,1,1],"class_counts":null,"mean":0,"variance":1}
}

// The full MNIST. Files that already exist cause no requests.
func ExampleFetcher() {
	cache, err := data.DefaultDir()
	if err != nil {
		log.Fatal(err)
	}
	dir := filepath.Join(cache, "mnist")
	fetcher := &data.Fetcher{Report: func(e data.Event) {
		if e.Err != nil {
			log.Printf("%s: %v", e.File, e.Err)
		}
	}}
	if err := fetcher.Fetch(context.Background(), dir, data.MNISTFiles()...); err != nil {
		log.Fatal(err)
	}
	train, heldOut, err := data.LoadMNIST(dir)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(train.N, heldOut.N)
}

// A file with known size and checksum, from one server that lacks it and one that has it.
func ExampleFetcher_Fetch() {
	lost := httptest.NewServer(http.NotFoundHandler())
	defer lost.Close()
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "weights")
	}))
	defer mirror.Close()
	dir, err := os.MkdirTemp("", "fetch")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	fetcher := &data.Fetcher{Report: func(e data.Event) {
		fmt.Printf("%s: %d of %d bytes, failed: %t\n", e.File, e.Done, e.Total, e.Err != nil)
	}}
	err = fetcher.Fetch(context.Background(), dir, data.File{
		Name:   "map.safetensors",
		SHA256: "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",
		Size:   7,
		URLs:   []string{lost.URL, mirror.URL},
	})
	fmt.Println(err)
	// Output:
	// map.safetensors: 0 of 7 bytes, failed: true
	// map.safetensors: 7 of 7 bytes, failed: false
	// <nil>
}
