package reward_test

import (
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/gomfm/gomfm/mfm/internal/backendtest"
	"github.com/gomfm/gomfm/mfm/reward"
)

// corner is a reward by the upper left pixel of a picture.
type corner struct{ reward.Reward }

func (corner) Side() int { return 1 }

func (corner) Prepare(picture *image.RGBA) []float32 {
	return []float32{float32(picture.Pix[0]), float32(picture.Pix[1]), float32(picture.Pix[2])}
}

func (corner) BuildPrepared(_ *model.Scope, prepared *Node) *Node {
	return ReduceSum(prepared, 1, 2, 3)
}

// Pictures of several sizes and more than a call of the graph have their scores in order, and a
// black box rounds.
func TestScorer(t *testing.T) {
	s, err := reward.NewScorer(backendtest.New(t), corner{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Finalize()
	var pictures []*image.RGBA
	var want []float64
	for i := range 37 {
		picture := image.NewRGBA(image.Rect(0, 0, 1+i%3, 1+i%2))
		copy(picture.Pix, []uint8{uint8(i), 100, uint8(2 * i)})
		pictures, want = append(pictures, picture), append(want, float64(3*i+100))
	}
	got, err := s.Score(pictures...)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("scores %v, %v, want %v", got, err, want)
	}
	host := s.Host()
	got, err = host([]float32{-1, 0.001, 2, 9, 9, 9, 1, 1, 1, 9, 9, 9}, []int{2, 1, 2, 3})
	if err != nil || !slices.Equal(got, []float64{128 + 255, 3 * 255}) {
		t.Errorf("as a black box: %v, %v", got, err)
	}
	if got, err := s.Score(); len(got) > 0 || err != nil {
		t.Errorf("no pictures: %v, %v", got, err)
	}
	_, err = s.Score(append(pictures[:20:20], image.NewRGBA(image.Rect(0, 0, 3, 0)))...)
	if err == nil || !strings.Contains(err.Error(), "picture 20 has no pixels") {
		t.Errorf("a picture without pixels: %v", err)
	}
	if _, err = host(make([]float32, 4), []int{1, 2, 2, 1}); err == nil || !strings.Contains(err.Error(), "[1 2 2 1]") {
		t.Errorf("gray pictures: %v", err)
	}
	got, err = host([]float32{0, 0, 0, 0, float32(math.NaN()), 0}, []int{2, 1, 1, 3})
	if err != nil || got[0] != 3*128 || !math.IsNaN(got[1]) {
		t.Errorf("a picture with NaN: %v, %v", got, err)
	}
}
