package image_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gomfm/gomfm/data"
	"github.com/gomfm/gomfm/mfm/experiment/image"
	"github.com/gomfm/gomfm/mfm/nn"
)

// A map of the images' classes has their number, in the network and in the loss, and their names. A
// number that is configured stays.
func TestSetClasses(t *testing.T) {
	images := fourImages()
	images.Names = []string{"north", "east", "south", "west"}
	c := plainConfig()
	if err := c.SetClasses(images, images); err != nil {
		t.Fatal(err)
	}
	if g := c.Train.Loss.Guidance; c.Network.ClassCount() != 4 || g.Classes != 4 || g.Dropout != 0.1 ||
		!slices.Equal(c.ClassNames, images.Names) {
		t.Errorf("%d classes %q with guidance %+v", c.Network.ClassCount(), c.ClassNames, g)
	}
	if err := c.Validate(images); err != nil {
		t.Error(err)
	}
	e, err := image.New(t.Context(), c, images)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int32{"south": 2, "3": 3} {
		if k, err := e.ClassIndex(text); k != want || err != nil {
			t.Errorf("class %q is %d, want %d (%v)", text, k, want, err)
		}
	}
	other := fourImages() // without their names
	if e, err = image.New(t.Context(), c, other); err != nil || !slices.Equal(e.ClassNames(), images.Names) {
		t.Errorf("the map has the classes %q (%v)", e.ClassNames(), err)
	}
	c = plainConfig()
	if err := c.SetClasses(other, other); err != nil || c.ClassNames != nil {
		t.Errorf("classes without names are %q (%v)", c.ClassNames, err)
	}
	if e, err = image.New(t.Context(), c, other); err != nil || !slices.Equal(e.ClassNames(), []string{"0", "1", "2", "3"}) {
		t.Errorf("the map has the classes %q (%v)", e.ClassNames(), err)
	}

	for want, change := range map[string]func(c *image.Config, m *data.Images){
		"the images have no labels":                    func(_ *image.Config, m *data.Images) { m.Labels = nil },
		`class "west" has no images to train on`:       func(_ *image.Config, m *data.Images) { m.Labels = []int32{0, 1, 2, 2} },
		"class 2 of 4 has no images to train on: numb": func(_ *image.Config, m *data.Images) { m.Labels, m.Names = []int32{0, 1, 1, 3}, nil },
		"class 3 of 4 has no images to train on":       func(_ *image.Config, m *data.Images) { m.Labels, m.Names = []int32{0, 1, 2, 2}, nil },
		"network mlp: set its classes to 4": func(c *image.Config, _ *data.Images) {
			c.Network = nn.NewNetwork(nn.DefaultMLP())
		},
	} {
		c, m := plainConfig(), *images
		change(&c, &m)
		if err := c.SetClasses(&m, images); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	one := *images
	one.Labels, one.Names = make([]int32, 4), nil
	if err := c.SetClasses(&one, &one); err == nil || !strings.Contains(err.Error(), "all images have one class") {
		t.Errorf("images of one class: %v", err)
	}
	c.ClassNames = []string{"a"}
	if err := c.Validate(images); err == nil || !strings.Contains(err.Error(), "class_names has 1 names") {
		t.Errorf("a name of four: %v", err)
	}
}
