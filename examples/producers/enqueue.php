<?php
// composer require predis/predis && php enqueue.php
require 'vendor/autoload.php';

$order = [
    'order_id' => 'A-1004',
    'items' => [['sku' => 'TEA-SENCHA', 'quantity' => 2]],
    'ship_to' => '221B Baker Street, London',
    'enqueued_at' => gmdate(DATE_RFC3339),
];
$client = new Predis\Client(getenv('REDIS_URL') ?: 'redis://127.0.0.1:6379/0');
$client->lpush('orders', [json_encode($order, JSON_THROW_ON_ERROR)]);
