"""Makes the attempts of a queue, until it is told to stop: python3 worker.py [QUEUE]"""
import concurrent.futures, queue, random, signal, sys, threading, time

import grpc
from connect import connect  # also finds what was generated
from retry.v1 import failure_pb2, retry_service_pb2_grpc, subscribe_pb2 as pb

name = sys.argv[1] if len(sys.argv) > 1 else "demo"
unfinished = set()  # lease tokens of attempts that are being made
unsettled = {}  # outcomes without a result yet, by lease token: the next stream takes them too
requests = queue.Queue()  # what the stream of the moment is to be sent
stopping = threading.Event()

def make(attempt):
    print(f"{attempt.task_id}: attempt {attempt.attempt}, payload {attempt.payload.decode()}", flush=True)
    outcome = pb.Outcome(lease_token=attempt.lease_token, success=pb.Success())
    if attempt.attempt < 3:  # in place of the work itself
        outcome.failure.CopyFrom(failure_pb2.Failure(timeout=failure_pb2.TimeoutFailure()))
    unsettled[attempt.lease_token] = outcome
    unfinished.discard(attempt.lease_token)
    requests.put(pb.SubscribeRequest(outcome=outcome))

def subscribe(retryd, pool):
    global requests
    requests = queue.Queue()
    requests.put(pb.SubscribeRequest(open=pb.Open(queues=[name], max_in_flight=8)))
    for outcome in list(unsettled.values()): requests.put(pb.SubscribeRequest(outcome=outcome))
    stream = retryd.Subscribe(iter(requests.get, None))
    threading.Thread(target=tend, args=(stream, requests), daemon=True).start()
    for message in stream:
        if message.HasField("attempt"):
            unfinished.add(message.attempt.lease_token)
            pool.submit(make, message.attempt)
        elif message.HasField("outcome_result"):  # an error in it is final: the lease was lost, say
            unsettled.pop(message.outcome_result.lease_token, None)
        elif message.HasField("drain"):  # this server goes away; the tokens are good at the others
            stream.cancel()

def tend(stream, requests):
    """Extends the leases, which last 30 s, and ends the stream once all is done after a signal."""
    while stream.is_active() and not stopping.wait(10):
        if unfinished: requests.put(pb.SubscribeRequest(extend=pb.Extend(lease_tokens=list(unfinished))))
    requests.put(pb.SubscribeRequest(flow=pb.Flow(max_in_flight=0)))
    time.sleep(1)  # what is on its way to us is made as well
    while stream.is_active() and (unfinished or unsettled): time.sleep(0.1)
    stream.cancel()

signal.signal(signal.SIGTERM, lambda *_: stopping.set())
with connect() as channel, concurrent.futures.ThreadPoolExecutor(8) as pool:
    retryd = retry_service_pb2_grpc.RetryServiceStub(channel)
    while not stopping.is_set():
        try:
            subscribe(retryd, pool)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED): raise
        stopping.wait(random.uniform(0, 1))
