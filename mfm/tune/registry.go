package tune

import (
	"fmt"
	"strings"

	"github.com/gomfm/gomfm/mfm/steer"
)

// Options are the options of the objectives that [Objectives] lists, as configurations name them.
// An objective reads those that its [Entry] names and ignores the others.
type Options struct {
	// N is the number of posterior samples for each state.
	N int
	// Reference and Floor are those of [MetaTuning].
	Reference int
	Floor     float64
	// Exact is the value in closed form, nil if it is not known.
	Exact *steer.Exact
}

// Entry describes an objective of [Objectives]: what it needs, and which options it reads.
type Entry struct {
	// Name identifies the objective in configurations and results, as their method. It is what the
	// objective's String returns.
	Name string
	// N says that the objective reads N, and Reference that it reads Reference and Floor.
	N, Reference bool
	// LeastN is the smallest N with which the objective learns anything; 0 if it does not read N.
	LeastN int
	// Exact says that the objective needs the value in closed form.
	Exact bool

	build func(o Options) Objective
}

// New returns the objective with the given options, or an error if it needs the value in closed
// form and there is none. It does not validate the options; see [Objective].
func (e Entry) New(o Options) (Objective, error) {
	if e.Exact && o.Exact == nil {
		return nil, fmt.Errorf("method %s: the value has no closed form here", e.Name)
	}
	return e.build(o), nil
}

// Objectives lists the objectives that configurations can name.
func Objectives() []Entry {
	samples := func(o Options) steer.PosteriorSamples { return steer.PosteriorSamples{N: o.N} }
	meta := func(gradientFree bool) func(o Options) Objective {
		return func(o Options) Objective {
			return MetaTuning{PosteriorSamples: samples(o), Reference: o.Reference, Floor: o.Floor,
				GradientFree: gradientFree}
		}
	}
	entries := []Entry{
		{N: true, Reference: true, LeastN: 1, build: meta(false)},
		{N: true, Reference: true, LeastN: 1, build: meta(true)},
		{N: true, LeastN: 1, build: func(o Options) Objective {
			return PlugIn{steer.MFMG{PosteriorSamples: samples(o)}}
		}},
		// A single sample minus its mean is zero.
		{N: true, LeastN: 2, build: func(o Options) Objective {
			return PlugIn{steer.MFMGF{PosteriorSamples: samples(o), Baseline: steer.MeanBaseline}}
		}},
		{build: func(Options) Objective { return RewardWeighted{} }},
		{build: func(Options) Objective { return AdjointMatching{} }},
		{Exact: true, build: func(o Options) Objective { return PlugIn{*o.Exact} }},
	}
	for i := range entries {
		entries[i].Name = entries[i].build(Options{Exact: &steer.Exact{}}).String()
	}
	return entries
}

// Lookup returns the entry of an objective by its name, or an error that lists the names.
func Lookup(name string) (Entry, error) {
	var names []string
	for _, e := range Objectives() {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return Entry{}, fmt.Errorf("method %q is unknown: use %s", name, strings.Join(names, ", "))
}
