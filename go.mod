module github.com/retryd/retryd

go 1.26.0
