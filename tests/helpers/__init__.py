"""What tests share: fabricated results, small models, small disks, known data sets."""
