"""Reports that the first attempt at something failed: python3 reporter.py ID [QUEUE [POLICY]]"""
import sys

import grpc

from connect import connect  # also finds what was generated
from retry.v1 import failure_pb2, report_pb2, retry_service_pb2_grpc, task_pb2


def main(task_id, queue="demo", policy="quick"):
    with connect() as channel:
        retryd = retry_service_pb2_grpc.RetryServiceStub(channel)
        request = report_pb2.ReportFailureRequest(
            task=task_pb2.TaskSpec(id=task_id, queue=queue, policy=policy, payload=b'{"to": "Ada"}'),
            failure=failure_pb2.Failure(http=failure_pb2.HttpFailure(status=503)),
            # The same for each try of this report, whoever makes it: it counts once.
            idempotency_key=f"{task_id}/1",
        )
        try:
            answer = retryd.ReportFailure(request, timeout=5)
        except grpc.RpcError as error:
            # What is wrong with a request stays wrong; anything else may be sent again later.
            sys.exit(f"{error.code().name}: {error.details()}")
        decision = answer.decision
        if decision.HasField("next_attempt_time"):
            print(f"{answer.task_id}: attempt {decision.next_attempt} at {decision.next_attempt_time.ToJsonString()}")
        for line in decision.explanation:
            print(" ", line)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
