package stream_test

import (
	"context"
	"fmt"

	"github.com/gomfm/gomfm/data/stream"
)

// Pictures of several sizes, one of which cannot be read, become a batch.
func ExampleLoader() {
	set, err := stream.Open("testdata/pictures.csv")
	if err != nil {
		panic(err)
	}
	config := stream.Config{Height: 8, Width: 8, Batch: 16, Seed: 1, Flip: true, MaxBad: 1}
	loader, err := stream.NewLoader(set, config)
	if err != nil {
		panic(err)
	}
	batch, err := loader.Batch(context.Background(), 1) // four epochs of four pictures
	if err != nil {
		panic(err)
	}
	fmt.Printf("%q %d values\n", set.Classes(), len(batch.Pixels))
	for _, bad := range loader.Bad() {
		fmt.Println(bad.Reason)
	}
	// Output:
	// ["film" "noise" "ramp"] 3072 values
	// is animated: save one frame
}
