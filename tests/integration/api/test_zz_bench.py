import sys,time,threading,uuid,json
sys.path.insert(0,'/work/main')
import pytest
def test_bench(api, store):
    from rivet.client import Client
    c=Client(f"http://127.0.0.1:{api.port}", api.token)
    src=open('/tmp/c_src.lua').read()
    runs=[]
    t=time.perf_counter()
    for _ in range(200):
        runs.append(c.call("POST","/projects/default/pipelines/demo/runs",{"source":src}))
    dt=time.perf_counter()-t
    print("submit ms", dt/200*1000)
    session=api.register("bench")
    r=Client(f"http://127.0.0.1:{api.port}", "rvt_runner_"+"r"*43)
    t=time.perf_counter()
    orders=[]
    for run in runs:
        orders.append(r.call("POST",f"/runner/jobs/{run['stages'][0]['job']}/claim",{"session":session,"epoch":1,"protocol":1}))
    print("claim ms",(time.perf_counter()-t)/200*1000)
    t=time.perf_counter()
    for o in orders:
        r.call("POST",f"/runner/jobs/{o['job']}/lease",{"epoch":1},headers={"Authorization":"Bearer "+o["ticket"]})
    print("lease ms",(time.perf_counter()-t)/200*1000)
    t=time.perf_counter()
    for o in orders[:100]:
        c.call("GET",f"/runs/{o['run']}")
    print("read ms",(time.perf_counter()-t)/100*1000)
