package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const stockLines = "1 GOOG 616.47\n2 RHT 42.46\n3 VMW 78.25\n4 CSCO 23.29\n5 IBM 141.43\n"

// TestFiveStockLines runs the first program of a new user.
func TestFiveStockLines(t *testing.T) {
	program := filepath.Join(t.TempDir(), "stock_lines")
	if output, err := exec.Command("go", "build", "-o", program, "./stock_lines").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, kind := range []string{"direct", "topic", "fanout", "headers"} {
		t.Run(kind, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			command := exec.CommandContext(ctx, program, kind)
			command.Env = append(os.Environ(), "AMQP_URL="+brokerURL())
			output, err := command.CombinedOutput()
			must(t, err)
			if string(output) != stockLines {
				t.Fatalf("printed %q", output)
			}
		})
	}
	for _, words := range [][]string{{}, {"sideways"}} {
		output, err := exec.Command(program, words...).CombinedOutput()
		if err == nil || string(output) != "usage: go run ./stock_lines direct|topic|fanout|headers\n" {
			t.Fatalf("%v: %v, printed %q", words, err, output)
		}
	}
}
