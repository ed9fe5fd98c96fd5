package progress_test

import (
	"fmt"
	"os"
	"time"

	"github.com/gomfm/gomfm/mfm/progress"
)

// A training run of 1,000 steps at 40 steps per second, on a simulated clock. Standard output is
// not a terminal here, so there is a line every ten seconds. A program passes time.Now, or uses
// [progress.Auto].
func ExampleTerminal() {
	now := time.Unix(0, 0)
	clock := func() time.Time { return now }

	meter := progress.Terminal(os.Stdout, clock)
	report := progress.Report{Total: 1000, Loss: 2}
	meter.Update(report) // the run starts here
	for report.Step < report.Total {
		now = now.Add(25 * time.Millisecond)
		report.Step++
		report.Loss *= 0.998
		report.Elapsed = now.Sub(time.Unix(0, 0))
		meter.Update(report)
	}
	meter.Done(report, nil)
	// Output:
	//    0/1000    0%  loss 2.000
	//  400/1000   40%  loss 0.8979  40.0 steps/s  15s left
	//  800/1000   80%  loss 0.4031  40.0 steps/s  5s left
	// 1000/1000  100%  loss 0.2701  40.0 steps/s  done in 25s
}

// The rate of a download that resumes at block 3,000 of 5,000.
func ExampleRate() {
	now := time.Unix(0, 0)
	rate := progress.NewRate(10*time.Second, func() time.Time { return now })
	for blocks := int64(3000); blocks <= 3500; blocks += 100 {
		rate.Observe(blocks)
		now = now.Add(2 * time.Second)
	}
	left, ok := rate.Left(5000)
	fmt.Printf("%.1f blocks/s, %v left (%v)\n", rate.PerSecond(), left, ok)
	// Output: 50.0 blocks/s, 30s left (true)
}

// quarters is a sink of one's own: it prints a line for each completed quarter of the work.
type quarters struct{ done int64 }

func (q *quarters) Update(r progress.Report) {
	if r.Total == 0 { // unknown
		return
	}
	if quarter := 4 * r.Step / r.Total; quarter > q.done {
		q.done = quarter
		fmt.Printf("%d%% done, loss %.2f\n", 25*quarter, r.Loss)
	}
}

func (q *quarters) Done(r progress.Report, err error) {
	fmt.Printf("ended at step %d with error %v\n", r.Step, err)
}

// A sink of one's own implements Update and Done.
func ExampleSink() {
	var sink progress.Sink = &quarters{}
	report := progress.Report{Total: 1000, Loss: 2}
	sink.Update(report) // the run starts here
	for report.Step < report.Total {
		report.Step++
		report.Loss *= 0.998
		sink.Update(report)
	}
	sink.Done(report, nil)
	// Output:
	// 25% done, loss 1.21
	// 50% done, loss 0.74
	// 75% done, loss 0.45
	// 100% done, loss 0.27
	// ended at step 1000 with error <nil>
}
