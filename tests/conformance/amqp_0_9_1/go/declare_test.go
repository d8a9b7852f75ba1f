package conformance

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestServerPropertiesNameCapabilities(t *testing.T) {
	connection := connect(t)
	capabilities, ok := connection.Properties["capabilities"].(amqp.Table)
	if !ok {
		t.Fatal("no capabilities")
	}
	for _, name := range []string{"publisher_confirms", "basic.nack", "consumer_cancel_notify", "connection.blocked"} {
		if capabilities[name] != true {
			t.Errorf("%s is %v", name, capabilities[name])
		}
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	uri, err := amqp.ParseURI(brokerURL())
	must(t, err)
	uri.Password = "wrong"
	_, err = amqp.Dial(uri.String())
	expectRefusal(t, err, 403, "")
}

func TestUnknownVhostIsRefused(t *testing.T) {
	_, err := amqp.DialConfig(brokerURL(), amqp.Config{Vhost: "no such vhost", Heartbeat: time.Second})
	if err == nil {
		t.Fatal("was let in")
	}
}

func TestNegotiatedTuningIsTheProposal(t *testing.T) {
	connection := connect(t)
	if connection.Config.ChannelMax != 2047 || connection.Config.FrameSize != 131072 {
		t.Fatalf("%+v", connection.Config)
	}
}

func TestSmallFramesAreUsedBothWays(t *testing.T) {
	connection, err := amqp.DialConfig(brokerURL(), amqp.Config{FrameSize: 4096})
	must(t, err)
	defer connection.Close()
	channel := channelOf(t, connection)
	queue, body := declareQueue(t, channel, nil), strings.Repeat("x", 50_000)
	send(t, channel, queue, body)
	expectBodies(t, channel, queue, body)
}

func TestUpdateSecret(t *testing.T) {
	connection := connect(t)
	must(t, connection.UpdateSecret("guest", "rotation"))
	channelOf(t, connection)
}

func TestFlowActiveIsAnswered(t *testing.T) {
	must(t, openChannel(t).Flow(true))
}

func TestFlowInactiveIsNotImplemented(t *testing.T) {
	connection := connect(t)
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	_ = channelOf(t, connection).Flow(false)
	expectRefusal(t, receive(t, "connection.close", closed), 540, "active=false")
}

func TestChannelRefusalLeavesTheConnection(t *testing.T) {
	connection := connect(t)
	missing := unique("missing")
	_, err := channelOf(t, connection).QueueDeclarePassive(missing, false, false, false, false, nil)
	expectRefusal(t, err, 404, "no queue '"+missing+"' in vhost '/'")
	declareQueue(t, channelOf(t, connection), nil)
}

func TestServerNamedQueue(t *testing.T) {
	queue, err := openChannel(t).QueueDeclare("", false, false, true, false, nil)
	must(t, err)
	if !strings.HasPrefix(queue.Name, "amq.gen-") {
		t.Fatal(queue.Name)
	}
}

func TestQueueArguments(t *testing.T) {
	channel := openChannel(t)
	arguments := amqp.Table{
		amqp.QueueMaxLenArg:     int32(5),
		amqp.QueueMessageTTLArg: int64(60_000),
		amqp.QueueOverflowArg:   amqp.QueueOverflowRejectPublish,
		amqp.QueueTypeArg:       amqp.QueueTypeClassic,
		"x-max-priority":        byte(3),
		"x-expires":             int16(30_000),
	}
	queue := declareQueue(t, channel, arguments)
	arguments[amqp.QueueMaxLenArg] = int64(5)
	_, err := channel.QueueDeclare(queue, false, false, true, false, arguments)
	must(t, err)
	arguments[amqp.QueueMaxLenArg] = int32(6)
	_, err = channel.QueueDeclare(queue, false, false, true, false, arguments)
	expectRefusal(t, err, 406, "inequivalent arg 'x-max-length'")
}

func TestBadQueueArgument(t *testing.T) {
	_, err := openChannel(t).QueueDeclare(unique("queue"), false, false, true, false, amqp.Table{"x-message-ttl": "soon"})
	expectRefusal(t, err, 406, "expected integer, got longstr")
}

func TestExclusiveQueueIsLocked(t *testing.T) {
	queue := declareQueue(t, openChannel(t), nil)
	_, err := openChannel(t).QueueDeclarePassive(queue, false, false, false, false, nil)
	expectRefusal(t, err, 405, "RESOURCE_LOCKED")
}

func TestPurgeAndDeleteCount(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	send(t, channel, queue, "1", "2")
	waitDepth(t, channel, queue, 2)
	purged, err := channel.QueuePurge(queue, false)
	must(t, err)
	send(t, channel, queue, "3")
	waitDepth(t, channel, queue, 1)
	deleted, err := channel.QueueDelete(queue, false, false, false)
	must(t, err)
	if purged != 2 || deleted != 1 {
		t.Fatal(purged, deleted)
	}
}

func TestDeleteConditions(t *testing.T) {
	connection := connect(t)
	channel := channelOf(t, connection)
	queue := declareQueue(t, channel, nil)
	send(t, channel, queue, "m")
	waitDepth(t, channel, queue, 1)
	_, err := channelOf(t, connection).QueueDelete(queue, false, true, false)
	expectRefusal(t, err, 406, "not empty")
	consume(t, channel, queue, true, nil)
	_, err = channelOf(t, connection).QueueDelete(queue, true, false, false)
	expectRefusal(t, err, 406, "in use")
}

func TestExchangeKinds(t *testing.T) {
	for _, kind := range []string{amqp.ExchangeDirect, amqp.ExchangeTopic, amqp.ExchangeFanout, amqp.ExchangeHeaders} {
		t.Run(kind, func(t *testing.T) {
			channel := openChannel(t)
			exchange, queue := declareExchange(t, channel, kind, nil), declareQueue(t, channel, nil)
			must(t, channel.ExchangeDeclarePassive(exchange, kind, false, false, false, false, nil))
			must(t, channel.QueueBind(queue, "k", exchange, false, nil))
			publish(t, channel, exchange, "k", amqp.Publishing{Body: []byte("m")})
			expectBodies(t, channel, queue, "m")
			must(t, channel.QueueUnbind(queue, "k", exchange, nil))
			must(t, channel.ExchangeDelete(exchange, true, false))
			err := channel.ExchangeDeclarePassive(exchange, kind, false, false, false, false, nil)
			expectRefusal(t, err, 404, "no exchange '"+exchange+"'")
		})
	}
}

func TestExchangeToExchange(t *testing.T) {
	channel := openChannel(t)
	source, target := declareExchange(t, channel, "topic", nil), declareExchange(t, channel, "fanout", nil)
	queue := declareQueue(t, channel, nil)
	must(t, channel.ExchangeBind(target, "a.*", source, false, nil))
	must(t, channel.QueueBind(queue, "", target, false, nil))
	publish(t, channel, source, "a.b", amqp.Publishing{Body: []byte("1")})
	must(t, channel.ExchangeUnbind(target, "a.*", source, false, nil))
	publish(t, channel, source, "a.b", amqp.Publishing{Body: []byte("2")})
	publish(t, channel, target, "", amqp.Publishing{Body: []byte("3")})
	expectBodies(t, channel, queue, "1", "3")
}

func TestReservedNamesAreRefused(t *testing.T) {
	connection := connect(t)
	_, err := channelOf(t, connection).QueueDeclare("amq.mine", false, false, true, false, nil)
	expectRefusal(t, err, 403, "queue name 'amq.mine' contains reserved prefix 'amq.*'")
	err = channelOf(t, connection).ExchangeDelete("amq.topic", false, false)
	expectRefusal(t, err, 403, "deletion of system exchange 'amq.topic' in vhost '/' not allowed")
}

func TestInternalExchangeTakesNoPublish(t *testing.T) {
	channel := openChannel(t)
	exchange := unique("internal")
	must(t, channel.ExchangeDeclare(exchange, "fanout", false, false, true, false, nil))
	t.Cleanup(func() { must(t, openChannel(t).ExchangeDelete(exchange, false, false)) })
	closed := closing(channel)
	publish(t, channel, exchange, "", amqp.Publishing{})
	expectRefusal(t, receive(t, "channel.close", closed), 403, "cannot publish to internal exchange")
}

func TestAlternateExchange(t *testing.T) {
	channel := openChannel(t)
	other := declareExchange(t, channel, "fanout", nil)
	main := declareExchange(t, channel, "direct", amqp.Table{"alternate-exchange": other})
	queue := declareQueue(t, channel, nil)
	must(t, channel.QueueBind(queue, "", other, false, nil))
	publish(t, channel, main, "nobody", amqp.Publishing{Body: []byte("m")})
	expectBodies(t, channel, queue, "m")
}
