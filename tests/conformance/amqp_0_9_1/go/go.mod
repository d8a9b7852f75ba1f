module fairlead.test/conformance/amqp_0_9_1

go 1.24

require github.com/rabbitmq/amqp091-go v1.16.0
