// Publishes five stock lines through an exchange and consumes them: the first program of a new user.
//
//	go run ./stock_lines direct|topic|fanout|headers
//
// The broker is at AMQP_URL, or on this machine.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

var lines = []string{"1 GOOG 616.47", "2 RHT 42.46", "3 VMW 78.25", "4 CSCO 23.29", "5 IBM 141.43"}

type route struct {
	exchange, key, bindingKey string
	bindingArguments, headers amqp.Table
}

var routes = map[string]route{
	"direct": {exchange: "amq.direct", key: "stocks", bindingKey: "stocks"},
	"topic":  {exchange: "amq.topic", key: "stocks.nyse", bindingKey: "stocks.#"},
	"fanout": {exchange: "amq.fanout"},
	"headers": {
		exchange:         "amq.headers",
		bindingArguments: amqp.Table{"x-match": "all", "kind": "stock"},
		headers:          amqp.Table{"kind": "stock"},
	},
}

func main() {
	through, known := route{}, false
	if len(os.Args) == 2 {
		through, known = routes[os.Args[1]]
	}
	if !known {
		fmt.Fprintln(os.Stderr, "usage: go run ./stock_lines direct|topic|fanout|headers")
		os.Exit(2)
	}
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@127.0.0.1:5672/%2f"
	}
	if err := run(url, through); err != nil {
		log.Fatal(err)
	}
}

func run(url string, through route) error {
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		return err
	}
	err = channel.QueueBind(queue.Name, through.bindingKey, through.exchange, false, through.bindingArguments)
	if err != nil {
		return err
	}
	for _, line := range lines {
		message := amqp.Publishing{Headers: through.headers, Body: []byte(line)}
		err = channel.PublishWithContext(context.Background(), through.exchange, through.key, false, false, message)
		if err != nil {
			return err
		}
	}
	deliveries, err := channel.Consume(queue.Name, "", false, true, false, false, nil)
	if err != nil {
		return err
	}
	for range lines {
		message := <-deliveries
		fmt.Println(string(message.Body))
		if err = message.Ack(false); err != nil {
			return err
		}
	}
	return nil
}
